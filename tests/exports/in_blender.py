"""Run by Blender: imports an animation, renders one moment, and prints where the joints are then, in metres, z up.

blender --background --python-exit-code 1 --python in_blender.py -- FILE PICTURE.png SECONDS
"""

import builtins
import json
import sys

import bpy
import mathutils
import numpy

# Debian 12 has Blender 3.4, whose importers use what its own Python and NumPy no longer have
plain_open = builtins.open
builtins.open = lambda file, mode="r", *args, **more: plain_open(file, mode.replace("U", ""), *args, **more)
numpy.bool = bool

path, picture, seconds = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
if path.endswith(".glb"):
    bpy.ops.import_scene.gltf(filepath=path)
    frame = float(seconds) * scene.render.fps
else:
    bpy.ops.import_anim.bvh(filepath=path, global_scale=0.01, axis_forward="-Z", axis_up="Y", update_scene_fps=True)
    frame = float(seconds) * scene.render.fps + 1
scene.frame_set(int(frame), subframe=frame % 1)
(armature,) = (o for o in bpy.data.objects if o.type == "ARMATURE")
at = {b.name: (armature.matrix_world @ b.matrix).translation for b in armature.pose.bones}
print("JOINTS", json.dumps({name: list(place) for name, place in at.items()}))
camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
camera.location = at["MidHip"] + mathutils.Vector((2.2, -2.6, 0.6))
camera.rotation_euler = (at["MidHip"] - camera.location).to_track_quat("-Z", "Y").to_euler()
sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
sun.rotation_euler = (0.6, 0.3, 0.4)
scene.collection.objects.link(camera)
scene.collection.objects.link(sun)
scene.camera = camera
scene.world = bpy.data.worlds.new("world")
scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 4, False
scene.render.resolution_x = scene.render.resolution_y = 240
scene.render.filepath = picture
bpy.ops.render.render(write_still=True)
