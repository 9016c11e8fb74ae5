from slipway_local.cli import app

app(prog_name="slipway-local")
