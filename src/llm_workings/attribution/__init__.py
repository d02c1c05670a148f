"""What an answer came from: saliency, integrated gradients, occlusion, CAMs, LRP; of images and tokens."""
