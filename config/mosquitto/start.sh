#!/bin/sh
# Start the broker with the two passwords of its environment: it takes them only as a file of hashes.
set -eu
umask 077
printf 'keeper:%s\nfeeds:%s\n' "$MQTT_KEEPER_PASSWORD" "$MQTT_FEEDS_PASSWORD" >/tmp/passwords
mosquitto_passwd -U /tmp/passwords
exec mosquitto -c /etc/keeper-mosquitto/mosquitto.conf
