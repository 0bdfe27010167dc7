"""People's votes: the ballot, the page to vote with, and how reliable the votes are."""
