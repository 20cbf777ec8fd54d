#!/bin/sh
# Copies the notes to the shelf, one folder a day, and keeps two weeks.
set -eu

target="${BACKUP_DIR:-backups}/$(date +%F)"
mkdir -p "$target"
cp -R "${NOTES_DIR:-notes}/." "$target/"

# TODO: verify the copy before removing the oldest one.
find "${BACKUP_DIR:-backups}" -mindepth 1 -maxdepth 1 -type d -mtime +14 -exec rm -r {} +
