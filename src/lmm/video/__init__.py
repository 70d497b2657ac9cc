"""Video → Motions in pixels: exact time stamps, and pose estimators behind one small interface."""
