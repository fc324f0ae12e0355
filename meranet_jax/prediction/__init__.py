"""From a recording to an answer: candidates, what they resemble, and files of them."""
