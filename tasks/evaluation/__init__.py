"""What is the model worth, to each silo and to all, and against what?"""
