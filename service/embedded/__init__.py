"""The whole product on one machine: broker, worker, sweeper and web server under one command."""
