# Registers the demo gateway once; the key exists in this file only, so the gateway is added when the file is empty.
key=/var/lib/segs-key/gateway.key
if [ ! -s "$key" ]; then
  rm -f "$key"
  # A start that was cut off may have added the gateway and lost its key: then it gets another one.
  segs-cloud gateway add demo-gateway --key-file "$key" || segs-cloud gateway key-add demo-gateway --key-file "$key"
fi
segs-cloud gateway device import demo-gateway /etc/segs/devices.csv
