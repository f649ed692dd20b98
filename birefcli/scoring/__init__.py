"""How good mattes are: the field's metrics, over folders, and a page that shows them.

``pairs`` finds what belongs together, ``read`` makes mattes of files, ``photo`` measures one pair
with ``saliency``, ``weighted``, ``boundary``, ``hce``, ``matting`` and ``colour``; ``run`` does
that for many, ``tally`` takes their means, ``report`` shows them.
"""
