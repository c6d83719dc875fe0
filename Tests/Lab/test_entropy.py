"""virtio-rng under Debian's kernel."""
from case import LabCase


class Entropy(LabCase):
    def test_hwrng_gives_different_bytes_each_time_also_when_limited(self):
        m = self.stock(options=['-object', 'rng-random,id=random0,filename=/dev/urandom',
                                '-device', 'virtio-rng-device,rng=random0,id=rng0,max-bytes=4096,period=1000'])
        self.assertIn('virtio_rng.', m.sh('cat /sys/class/misc/hw_random/rng_current'))
        sums = [m.sh('head -c 4096 /dev/hwrng | md5sum') for _ in range(3)]
        self.assertEqual(len(set(sums)), 3)
        m.finish()
