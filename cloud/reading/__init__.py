"""Reading strips and translating texts: from a request to an answer."""
