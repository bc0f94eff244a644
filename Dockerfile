# Three images from one file, built from lock files and wheels only:
#   web          serves, with ONNX Runtime and without TensorFlow
#   worker       trains on CPUs, and sweeps
#   worker-gpu   trains on NVIDIA GPUs
# Each runs as user 10001, needs no writable root file system and holds no compiler.

ARG PYTHON_IMAGE=python:3.11-slim

# The product and its client as wheels.
FROM ${PYTHON_IMAGE} AS product
WORKDIR /build
COPY requirements-build.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv tools && tools/bin/pip install --no-deps --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md ./
COPY docs/data-format.md docs/data-format.md
COPY models_store models_store
COPY migrations migrations
COPY service service
COPY workers workers
COPY client client
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels ./client .

# The base of the three images: user, folders and an empty virtual environment. Packages are installed in the final
# stage, because a copy from another one would write gigabytes twice; --only-binary needs no compiler. A named volume
# mounted on one of the folders takes over its owner.
FROM ${PYTHON_IMAGE} AS runtime
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_CACHE_DIR=/root/.cache/pip \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
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
      install -d -o dermatriage -g dermatriage "/var/lib/dermatriage/$folder"; done \
 && python -m venv --without-pip /opt/venv
WORKDIR /var/lib/dermatriage

FROM runtime AS web
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements-web.lock,target=/requirements.lock \
    pip --python /opt/venv/bin/python install --no-deps --only-binary=:all: --require-hashes -r /requirements.lock
RUN --mount=type=bind,from=product,source=/wheels,target=/wheels \
    pip --python /opt/venv/bin/python install --no-deps --no-index /wheels/*.whl
USER 10001:10001
ARG DERMATRIAGE_COMMIT=""
ENV DERMATRIAGE_COMMIT=${DERMATRIAGE_COMMIT} DERMATRIAGE_HOST=0.0.0.0 DERMATRIAGE_AUTH=keys
EXPOSE 8000
CMD ["python", "-m", "service.web"]

# TensorFlow's C++ headers take 430 MB, and only a compiler needs them.
FROM runtime AS worker
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements-worker.lock,target=/requirements.lock \
    pip --python /opt/venv/bin/python install --no-deps --only-binary=:all: --require-hashes -r /requirements.lock \
 && rm -rf /opt/venv/lib/python3.11/site-packages/tensorflow/include
RUN --mount=type=bind,from=product,source=/wheels,target=/wheels \
    pip --python /opt/venv/bin/python install --no-deps --no-index /wheels/*.whl
USER 10001:10001
ARG DERMATRIAGE_COMMIT=""
ENV DERMATRIAGE_COMMIT=${DERMATRIAGE_COMMIT} DERMATRIAGE_WORKER_QUEUES=cpu
CMD ["python", "-m", "workers"]

FROM runtime AS worker-gpu
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=requirements-worker-gpu.lock,target=/requirements.lock \
    pip --python /opt/venv/bin/python install --no-deps --only-binary=:all: --require-hashes -r /requirements.lock \
 && rm -rf /opt/venv/lib/python3.11/site-packages/tensorflow/include
RUN --mount=type=bind,from=product,source=/wheels,target=/wheels \
    pip --python /opt/venv/bin/python install --no-deps --no-index /wheels/*.whl
USER 10001:10001
ARG DERMATRIAGE_COMMIT=""
ENV DERMATRIAGE_COMMIT=${DERMATRIAGE_COMMIT} DERMATRIAGE_WORKER_QUEUES=gpu
CMD ["python", "-m", "workers"]
