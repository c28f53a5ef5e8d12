"""The page of the service, as a browser loads it: try titles or a user, see what every model recommends.

Static files alone, which `serve.http.pages` answers with; imports nothing and nothing of a network.
"""
