extension VmConfig {
    /// What the command line describes and nothing uses: one sentence each, for the log. QMP may still use a drive or a netdev.
    public func unusedParts(on architecture: GuestArchitecture) -> [String] {
        var drives: [String] = []
        var netdevs: [String] = []
        var chardevs: [String] = []
        var sources: [String] = []
        for device in devices {
            switch device {
            case .virtioBlock(let device): drives.append(device.drive)
            case .virtioNet(let device): netdevs.append(device.netdev)
            case .serialPort(let port): chardevs.append(port.chardev)
            case .virtioRng(let device): sources.append(device.rng)
            case .vhostUserFileSystem(let device): chardevs.append(device.chardev)
            case .vhostUserBlock(let device): chardevs.append(device.chardev)
            case .virtioSerial, .virtioBalloon, .vhostVsock, .virtioVsock, .virtioMem, .virtioPmem: break
            }
        }
        for case .vhostUser(let chardev) in self.netdevs.map(\.backend) { chardevs.append(chardev) }
        var found: [String] = []
        for chardev in self.chardevs where !chardevs.contains(chardev.id) { found.append("-chardev: nothing uses \(quoted(chardev.id))") }
        for drive in self.drives where !drives.contains(drive.id) { found.append("-drive: no -device uses \(quoted(drive.id))") }
        for netdev in self.netdevs where !netdevs.contains(netdev.id) { found.append("-netdev: no -device uses \(quoted(netdev.id))") }
        for source in rngSources where !sources.contains(source.id) {
            found.append("-object rng-random: no -device uses \(quoted(source.id))")
        }
        for backend in memoryBackends where !memoryBackendsInUse.contains(backend.id) {
            found.append("\(backend.option): nothing uses it")
        }
        if architecture == .x86_64 {
            for (key, isOn) in [("pmu", cpu.hasPMU), ("sve", cpu.hasSVE), ("kvm-steal-time", cpu.hasStealTime)] where isOn {
                found.append("-cpu: \(key)=on has no effect on x86_64")
            }
        }
        if let maximum = memory.maximum, maximum > memory.size { found.append("-m: maxmem= has no effect: memory cannot be added yet") }
        return found
    }
}
