#!/bin/sh
# backup.sh FOLDER: the database, then the store. In this order every file that a saved row names is in the archive,
# because a file is stored before its row and never changed. Runs beside the service; nothing has to stop.
set -eu
folder=${1:?usage: backup.sh FOLDER}
umask 077
mkdir -p "$folder"
docker compose exec -T postgres pg_dump --username=dermatriage --format=custom dermatriage >"$folder/database.dump.part"
docker compose exec -T web tar -C /var/lib/dermatriage/store -cf - . >"$folder/store.tar.part"
mv "$folder/database.dump.part" "$folder/database.dump"
mv "$folder/store.tar.part" "$folder/store.tar"
