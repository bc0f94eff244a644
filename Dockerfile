# Three images from one file, all of it from lock files and wheels alone:
#   web          serves, with ONNX Runtime and without TensorFlow
#   worker       trains on CPUs, and sweeps
#   worker-gpu   trains on NVIDIA GPUs
# Each runs as user 10001, needs no writable root file system and holds no compiler.

ARG PYTHON_IMAGE=python:3.11-slim

# The product as a wheel.
FROM ${PYTHON_IMAGE} AS product
WORKDIR /build
COPY requirements-build.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv tools && tools/bin/pip install --no-deps --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md ./
COPY models_store models_store
COPY migrations migrations
COPY service service
COPY workers workers
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

# The packages of each image: a virtual environment without pip. --only-binary, so that nothing is ever compiled.
FROM ${PYTHON_IMAGE} AS packages
ENV PIP_PYTHON=/opt/venv/bin/python PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/venv

FROM packages AS web-packages
COPY requirements-web.lock /
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --only-binary=:all: --require-hashes -r /requirements-web.lock

# TensorFlow's C++ headers are 430 MB that only a compiler would read.
FROM packages AS worker-packages
COPY requirements-worker.lock /
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --only-binary=:all: --require-hashes -r /requirements-worker.lock \
 && rm -rf /opt/venv/lib/python3.11/site-packages/tensorflow/include

FROM packages AS worker-gpu-packages
COPY requirements-worker-gpu.lock /
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --only-binary=:all: --require-hashes -r /requirements-worker-gpu.lock \
 && rm -rf /opt/venv/lib/python3.11/site-packages/tensorflow/include

# What the three images share. A named volume that is mounted on one of these folders takes over its owner.
FROM ${PYTHON_IMAGE} AS runtime
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/dermatriage/cache \
    KERAS_HOME=/var/lib/dermatriage/cache/keras \
    DERMATRIAGE_STORE_URL=/var/lib/dermatriage/store \
    DERMATRIAGE_DATA_ROOT=/var/lib/dermatriage/data \
    DERMATRIAGE_WEIGHTS_ROOT=/var/lib/dermatriage/weights \
    DERMATRIAGE_WORK_ROOT=/var/lib/dermatriage/work \
    DERMATRIAGE_CACHE_ROOT=/var/lib/dermatriage/cache
RUN groupadd --gid 10001 dermatriage \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/dermatriage/cache dermatriage \
 && for folder in store data weights work cache; do \
      install -d -o dermatriage -g dermatriage "/var/lib/dermatriage/$folder"; done
WORKDIR /var/lib/dermatriage

FROM runtime AS web
COPY --from=web-packages /opt/venv /opt/venv
RUN --mount=type=bind,from=product,source=/wheels,target=/wheels \
    pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 10001:10001
ARG DERMATRIAGE_COMMIT=""
ENV DERMATRIAGE_COMMIT=${DERMATRIAGE_COMMIT} DERMATRIAGE_HOST=0.0.0.0 DERMATRIAGE_AUTH=keys
EXPOSE 8000
CMD ["python", "-m", "service.web"]

FROM runtime AS worker
COPY --from=worker-packages /opt/venv /opt/venv
RUN --mount=type=bind,from=product,source=/wheels,target=/wheels \
    pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 10001:10001
ARG DERMATRIAGE_COMMIT=""
ENV DERMATRIAGE_COMMIT=${DERMATRIAGE_COMMIT} DERMATRIAGE_WORKER_QUEUES=cpu
CMD ["python", "-m", "workers"]

FROM runtime AS worker-gpu
COPY --from=worker-gpu-packages /opt/venv /opt/venv
RUN --mount=type=bind,from=product,source=/wheels,target=/wheels \
    pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 10001:10001
ARG DERMATRIAGE_COMMIT=""
ENV DERMATRIAGE_COMMIT=${DERMATRIAGE_COMMIT} DERMATRIAGE_WORKER_QUEUES=gpu
CMD ["python", "-m", "workers"]
