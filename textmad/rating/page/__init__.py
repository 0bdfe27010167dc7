"""The page on which people vote: a small web application over one file of votes."""
