"""lmm as a server: pages in a browser that show movement and forecast it."""
