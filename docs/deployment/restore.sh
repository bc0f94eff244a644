#!/bin/sh
# restore.sh FOLDER: puts back what backup.sh saved, replacing the database. Run it where only postgres is up:
#   docker compose up --detach --wait postgres && docs/deployment/restore.sh FOLDER && docker compose up --detach --wait
set -eu
folder=${1:?usage: restore.sh FOLDER}
running=$(docker compose ps --services --status running)
if [ "$running" != postgres ]; then
  echo "restore.sh: exactly postgres has to run, found: $(echo $running)" >&2
  echo "restore.sh: docker compose down, then docker compose up --detach --wait postgres" >&2
  exit 1
fi
docker compose exec -T postgres pg_restore --username=dermatriage --dbname=dermatriage --clean --if-exists \
  --exit-on-error --single-transaction <"$folder/database.dump"
docker compose run --rm --no-deps --interactive -T web tar -C /var/lib/dermatriage/store -xf - <"$folder/store.tar"
