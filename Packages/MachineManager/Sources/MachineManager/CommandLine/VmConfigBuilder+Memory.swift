extension VmConfigBuilder {
    mutating func addMemoryBackend(_ list: ParameterList) throws(CommandLineError) {
        let backend = try VmConfig.MemoryBackend(list)
        try list.checkNew(backend.id, among: config.memoryBackends.map(\.id))
        config.memoryBackends.append(backend)
    }

    /// The memory backend that `list` names by `memdev=`, and nothing before it.
    mutating func takeMemoryBackend(_ list: ParameterList, allowsReadOnly: Bool = false) throws(CommandLineError) -> VmConfig.MemoryBackend {
        let id = list.text("memdev") ?? ""
        guard let backend = config.memoryBackends.first(where: { $0.id == id }) else {
            throw list.invalid("there is no -object memory-backend-ram, -file or -memfd with id \(quoted(id))")
        }
        guard allowsReadOnly || !backend.isReadOnly else { throw list.invalid("memory backend \(quoted(id)) must not be readonly=on") }
        guard !takenMemoryBackends.contains(id) else { throw list.invalid("memory backend \(quoted(id)) is used twice") }
        takenMemoryBackends.append(id)
        return backend
    }

    /// For devices whose other half, in another process, reaches the guest's buffers by itself.
    func requireSharedMemory(_ list: ParameterList) throws(CommandLineError) {
        guard !config.isMemoryShared else { return }
        throw list.invalid(config.nodes.isEmpty ? "needs -machine mem-share=on" : "needs share=on of every memory backend of -numa")
    }
}
