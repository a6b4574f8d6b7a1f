"""A whole training run beside torch's: the same seed, the same numbers."""
import pytest

import numtorch

# the losses of torch 2.13.0, CPU build, every fifth step; the test below makes them anew where torch is installed
RECORDED = [2.311272, 2.306324, 2.298426, 2.310773, 2.316423,
            2.300266, 2.29966, 2.308404, 2.291884, 2.293812]


def losses(torch):
    """50 SGD steps of LeNet on random images; the library draws images, parameters and the order of the batches itself."""
    nn, functional = torch.nn, torch.nn.functional

    class LeNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
            self.pool, self.drop = nn.MaxPool2d(2), nn.Dropout(0.0)
            self.fc1, self.fc2, self.fc3 = nn.Linear(256, 120), nn.Linear(120, 84), nn.Linear(84, 10)

        def forward(self, x):
            x = self.pool(functional.relu(self.conv1(x)))
            x = self.pool(functional.relu(self.conv2(x))).flatten(1)
            return self.fc3(functional.relu(self.fc2(functional.relu(self.fc1(self.drop(x))))))

    torch.manual_seed(1729)
    images, targets = torch.randn(200, 1, 28, 28), torch.randint(0, 10, (200,))
    net = LeNet()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, targets), batch_size=20, shuffle=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    found = []
    for _ in range(5):
        for x, t in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(x), t)
            loss.backward()
            optimizer.step()
            found.append(loss.item())
    return found


def test_fifty_steps_of_lenet_give_torchs_recorded_losses():
    """Initialisation, shuffling, convolution, pooling, linear layers, the loss and SGD all draw and compute torch's numbers."""
    assert losses(numtorch)[::5] == pytest.approx(RECORDED, abs=1e-4)


def test_fifty_steps_of_lenet_give_torchs_losses():
    """The same against torch itself, every step."""
    torch = pytest.importorskip("torch")
    assert losses(numtorch) == pytest.approx(losses(torch), abs=1e-4)
