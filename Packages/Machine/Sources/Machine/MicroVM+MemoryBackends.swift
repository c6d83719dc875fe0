internal import AddressSpace
internal import LinuxSys
internal import MachineManager

extension MicroVM {
    /// The memory that a backend describes, its pages placed on the nodes of the host and, where the backend says so, taken. Nothing is left of it when it throws.
    func makeMemory(_ backend: VmConfig.MemoryBackend) throws(MachineError) -> HostMemory {
        try lift({ MachineError.memoryBackend(option: backend.option, $0) }) { () throws(MemoryBackendError) in
            try HostMemory.make(backend, isDumped: config.machine.dumpGuestCore, threads: preallocationThreads, newFiles: &newFiles)
        }
    }

    /// What RAM consists of, by guest physical address: the memory of the nodes, or one.
    func makeRAM() throws(MachineError) -> [HostMemory] {
        guard !config.nodes.isEmpty else { return [try makeMainMemory()] }
        var memories: [HostMemory] = []
        for var backend in config.nodeMemory {
            backend.isPreallocated = backend.isPreallocated || config.memory.isPreallocated
            memories.append(try makeMemory(backend))
        }
        return memories
    }

    /// The machine's memory when no backends are named for it: in the file of `-mem-path`, else in a memfd or in none, by `mem-share`.
    func makeMainMemory() throws(MachineError) -> HostMemory {
        let shared = config.machine.memShare
        let kind: VmConfig.MemoryBackend.Kind = if let path = config.memory.path { .file(path: path) } else if shared { .memfd } else { .ram }
        var backend = VmConfig.MemoryBackend(id: "", kind: kind, size: config.memory.size, isShared: shared)
        backend.isPreallocated = config.memory.isPreallocated
        return try lift({ MachineError.mainMemory(size: backend.size, path: config.memory.path, $0) }) { () throws(MemoryBackendError) in
            try HostMemory.make(backend, isDumped: config.machine.dumpGuestCore, threads: preallocationThreads, newFiles: &newFiles)
        }
    }

    /// As many as StratoVirt has.
    private var preallocationThreads: Int { min(16, HostProcessors.count, Int(config.processors.count)) }
}
