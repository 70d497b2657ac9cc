def write(scene,out): pass
