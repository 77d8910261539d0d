"""`fangxian sunset`: the end of what was collected, once two people have declared the emergency over."""
