"""Photos as they come: ``birefcli watch``. ``run`` is its story."""
