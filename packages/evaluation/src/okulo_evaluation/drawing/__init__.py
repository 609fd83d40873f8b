"""What the visualizer draws with: colours, text, label places, masks, boxes, keypoints."""
