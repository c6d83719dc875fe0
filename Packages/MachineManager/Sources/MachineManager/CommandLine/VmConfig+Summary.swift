extension VmConfig {
    /// The configuration in one line, for the log.
    public var summary: String {
        var parts = ["machine: \(machine.kind == .none ? "none" : "microvm")"]
        if let name { parts.append("name: \(name)") }
        if machine.kind != .none {
            parts.append("smp: \(processors.count)/\(processors.maximum)")
            parts.append("memory: \(memory.size >> 20) MiB\(machine.memShare ? " shared" : "")")
            parts.append("kernel: \(boot.kernel)")
            if let initrd = boot.initrd { parts.append("initrd: \(initrd)") }
            parts.append("append: \"\(boot.kernelArguments)\"")
            if serial != nil { parts.append("serial: yes") }
        }
        func list(_ name: String, _ words: [String]) {
            if !words.isEmpty { parts.append("\(name): [\(words.joined(separator: ", "))]") }
        }
        list("qmp", monitors.map(\.description))
        list("iothreads", iothreads)
        list("drives", drives.map { "\($0.id) \($0.file)\($0.isReadOnly ? " read-only" : "")" })
        list("netdevs", netdevs.map(\.id))
        list("chardevs", chardevs.map(\.id))
        list("devices", devices.map { "\($0.id)" })
        if startsPaused { parts.append("paused") }
        return "{\(parts.joined(separator: ", "))}"
    }

    /// What no device uses, one sentence each: nothing on the command line is passed over in silence. QMP may still use a drive or a netdev.
    public var unusedParts: [String] {
        var used: (drives: Set<String>, netdevs: Set<String>, chardevs: Set<String>, rngs: Set<String>, iothreads: Set<String>) = ([], [], [], [], [])
        for device in devices {
            switch device {
            case .virtioBlock(let block):
                used.drives.insert(block.drive)
                used.iothreads.formUnion([block.iothread].compactMap(\.self))
            case .virtioNet(let net):
                used.netdevs.insert(net.netdev)
                used.iothreads.formUnion([net.iothread, net.rxIOThread, net.txIOThread].compactMap(\.self))
            case .serialPort(let port): used.chardevs.insert(port.chardev)
            case .virtioRng(let rng): used.rngs.insert(rng.rng)
            case .vhostUserFileSystem(let shared): used.chardevs.insert(shared.chardev)
            case .virtioSerial, .vhostVsock: break
            }
        }
        return chardevs.filter { !used.chardevs.contains($0.id) }.map { "-chardev: nothing uses \($0.id)" }
            + drives.filter { !used.drives.contains($0.id) }.map { "-drive: no -device uses \($0.id)" }
            + netdevs.filter { !used.netdevs.contains($0.id) }.map { "-netdev: no -device uses \($0.id)" }
            + rngSources.filter { !used.rngs.contains($0.id) }.map { "-object: no -device uses rng-random \($0.id)" }
            + iothreads.filter { !used.iothreads.contains($0) }.map { "-object: no -device uses iothread \($0)" }
    }
}
