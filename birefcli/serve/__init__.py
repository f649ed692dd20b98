"""``birefcli serve``: a photo in, a picture out, over HTTP. It comes with the extra ``serve``.

``app`` has the routes, ``dialects`` turn requests into orders and results into answers, ``service``
does an order over the predictor, reader, products and encoder of a batch, ``server`` listens.
"""
