"""`fangxian sunset`: destroy all collected data, after two people have declared that the emergency is over."""
