"""EXIF, XMP and IPTC as bytes."""
