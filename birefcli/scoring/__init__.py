"""How good mattes are: the field's metrics, over folders, and a page that shows them.

``run`` is the story: ``pairs`` finds what belongs together (``layouts`` knows data sets),
``predict`` mattes photos where a model is scored, ``batch`` does many at once, ``measure`` takes
one photo's ``metrics`` of the ``masks`` in its files, ``summary`` takes the means, and ``report``
draws the page with its ``thumbnails``.
"""
