"""JSON with files in base64."""

import base64
import json

from birefcli.serve.dialects.json_files import JsonFiles


def test_files_stand_where_they_were_put_in_any_order():
    files = JsonFiles()
    first, second = files.add(b"one"), files.add(bytes(range(256)))
    said = {"b": [f"data:image/png;base64,{second}", None], "a": first, 'quote"é': 1.5, "c": first}
    read = json.loads(files.encode(said))
    one = base64.b64encode(b"one").decode()
    two = base64.b64encode(bytes(range(256))).decode()
    url = f"data:image/png;base64,{two}"
    assert read == {"b": [url, None], "a": one, 'quote"é': 1.5, "c": one}


def test_without_files_it_is_plain_json():
    assert json.loads(JsonFiles().encode({"notes": []})) == {"notes": []}
