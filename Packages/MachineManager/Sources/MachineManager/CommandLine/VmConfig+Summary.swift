extension VmConfig {
    /// The configuration in one line, for the log.
    public var summary: String {
        var parts = ["machine: \(machine.kind == .none ? "none" : "microvm")"]
        if let name { parts.append("name: \(name)") }
        if machine.kind != .none {
            parts.append("smp: \(processors.count)/\(processors.maximum)")
            let path = memory.path.map { " in \($0)" } ?? ""
            parts.append("memory: \(memory.size >> 20) MiB\(isMemoryShared ? " shared" : "")\(path)\(memory.isPreallocated ? " preallocated" : "")")
            parts.append("kernel: \(boot.kernel)")
            if let initrd = boot.initrd { parts.append("initrd: \(initrd)") }
            parts.append("append: \"\(boot.kernelArguments)\"")
            if serial != nil { parts.append("serial: yes") }
        }
        func list(_ name: String, _ words: [String]) {
            if !words.isEmpty { parts.append("\(name): [\(words.joined(separator: ", "))]") }
        }
        list("qmp", monitors.map(\.description))
        list("iothreads", iothreads.map(\.id))
        list("memory backends", memoryBackends.map { "\($0.id) \($0.size >> 20) MiB" })
        list("nodes", nodes.map { "\($0.number)\($0.memory.map { " \($0)" } ?? "")" })
        list("drives", drives.map { "\($0.id) \($0.file)\($0.isReadOnly ? " read-only" : "")" })
        list("netdevs", netdevs.map(\.id))
        list("chardevs", chardevs.map(\.id))
        list("devices", devices.map { "\($0.id)" })
        if startsPaused { parts.append("paused") }
        return "{\(parts.joined(separator: ", "))}"
    }
}
