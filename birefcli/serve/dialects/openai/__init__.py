"""OpenAI's dialect: images, chat and models, as that API's own clients speak it.

Its clients send new fields all the time: what is not known is ignored, unless it is one of ours
misspelled. A wrong value is an error.
"""
