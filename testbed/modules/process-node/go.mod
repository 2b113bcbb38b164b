module stepworks.dev/testbed/process-node

go 1.26.0
