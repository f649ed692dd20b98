"""Python packages that birefcli needs, and those that add something."""

LIBRARIES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "numpy": "numpy",
    "pillow": "PIL",
    "opencv": "cv2",
    "safetensors": "safetensors",
    "huggingface-hub": "huggingface_hub",
}
"""Required packages, each with the module it is imported as."""
OPTIONAL = {
    "numba": ("fast", "deformable convolution of large maps on a CPU, in a compiled loop", True),
    "isal": ("fast", "PNG and TIFF packed in a third of the time", True),
    "simplejpeg": ("fast", "JPEG decoded in less time, to the same pixels", True),
    "pillow_heif": ("heif", "HEIC and AVIF photos, as phones take them", False),
    "onnxruntime": ("bench", "comparing with networks in ONNX, in birefcli bench", False),
    "onnx": ("export", "models as ONNX files, with birefcli export", False),
    "onnxscript": ("export", "models as ONNX files, with birefcli export", False),
    "starlette": ("serve", "photos over HTTP, with birefcli serve", False),
    "obstore": ("cloud", "photos and products in s3://, gs:// and az://", False),
    "watchfiles": ("watch", "birefcli watch wakes at once when a file comes", False),
    "ray": ("ray", "one run over the machines of a cluster", False),
}
"""By module: the extra that installs it, what it is for, whether that is speed."""
