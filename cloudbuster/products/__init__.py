"""What a merge writes: COGs, blocks and parts, preview, report and STAC item.

Imported by merge; nothing here decides which scene gives a pixel.
"""
