"""The models whose training steps gpu_check.py times, of numtorch or torch, which the argument ``L`` says."""


def lenet(L):
    """(model, input, target) of LeNet on 3 x 32 x 32 images."""
    nn = L.nn
    net = nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    return net, L.randn(64, 3, 32, 32), L.randint(0, 10, (64,))


def resnet18(L):
    """(model, input, target) of ResNet-18 (He et al. 2015) on 3 x 224 x 224 images."""
    nn = L.nn

    class Block(nn.Module):
        def __init__(self, inside, outside, stride):
            super().__init__()
            self.path = nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(),
                                      nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside))
            self.short = nn.Sequential() if stride == 1 and inside == outside else nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

        def forward(self, x):
            return L.relu(self.path(x) + self.short(x))
    blocks = [Block(a, b, s) for a, b, s in ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1),
                                             (256, 512, 2), (512, 512, 1))]
    net = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks,
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    return net, L.randn(32, 3, 224, 224), L.randint(0, 1000, (32,))


def gpt(L):
    """(model, input, target) of a GPT of 6 layers, width 384, 6 heads, context 256, 65 characters."""
    nn, width, heads, context, letters = L.nn, 384, 6, 256, 65

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x):
            b, t, _ = x.shape
            q, k, v = (p.view(b, t, heads, -1).transpose(1, 2) for p in self.qkv(self.norm1(x)).chunk(3, -1))
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, width))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.place = nn.Embedding(letters, width), nn.Embedding(context, width)
            self.blocks, self.norm = nn.Sequential(*[Block() for _ in range(6)]), nn.LayerNorm(width)
            self.head = nn.Linear(width, letters)

        def forward(self, ids):
            x = self.token(ids) + self.place(L.arange(ids.shape[1], device=ids.device))
            return self.head(self.norm(self.blocks(x))).flatten(0, 1)
    return GPT(), L.randint(0, letters, (32, context)), L.randint(0, letters, (32 * context,))
