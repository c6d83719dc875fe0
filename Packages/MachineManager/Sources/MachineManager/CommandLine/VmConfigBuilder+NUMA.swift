/// Makes the nodes, once everything is known that they may name.
extension VmConfigBuilder {
    mutating func makeNodes() throws(CommandLineError) {
        for list in nodeLists where list.variant == "node" { try addNode(list) }
        config.nodes.sort { $0.number < $1.number }
        for list in nodeLists where list.variant == "dist" { try addDistance(list) }
        guard !config.nodes.isEmpty else { return }
        giveNodesTheirCPUs()
        try checkNodeMemory()
    }

    private mutating func addNode(_ list: ParameterList) throws(CommandLineError) {
        var node = VmConfig.NUMANode(number: UInt32(clamping: list.number("nodeid") ?? 0))
        guard !config.nodes.contains(where: { $0.number == node.number }) else { throw list.invalid("nodeid=\(node.number) is used twice") }
        guard config.nodes.count < VmConfig.maximumNodes else { throw list.invalid("there can be at most \(VmConfig.maximumNodes)") }
        for cpu in list.numbers("cpus") ?? [] {
            guard cpu < config.processors.count else {
                throw list.invalid("cpus= names vCPU \(cpu), and -smp has \(config.processors.count)")
            }
            guard config.node(ofCPU: UInt32(clamping: cpu)) == nil else { throw list.invalid("vCPU \(cpu) is in two nodes") }
            node.cpus.append(UInt32(clamping: cpu))
        }
        if list.text("memdev") != nil { node.memory = try takeMemoryBackend(list).id }
        guard node.memory != nil || !node.cpus.isEmpty else { throw list.invalid("needs cpus= or memdev=") }
        config.nodes.append(node)
    }

    private mutating func addDistance(_ list: ParameterList) throws(CommandLineError) {
        let (source, destination) = (UInt32(clamping: list.number("src") ?? 0), UInt32(clamping: list.number("dst") ?? 0))
        let value = UInt8(clamping: list.number("val") ?? 0)
        guard let index = config.nodes.firstIndex(where: { $0.number == source }), config.nodes.contains(where: { $0.number == destination }) else {
            throw list.invalid("there are no -numa nodes \(source) and \(destination)")
        }
        guard source != destination else {
            guard value == VmConfig.localDistance else { throw list.invalid("val= from a node to itself must be \(VmConfig.localDistance)") }
            return
        }
        guard value > VmConfig.localDistance else { throw list.invalid("val= between two nodes must be more than \(VmConfig.localDistance)") }
        guard !config.nodes[index].distances.contains(where: { $0.node == destination }) else {
            throw list.invalid("the distance from node \(source) to node \(destination) is given twice")
        }
        config.nodes[index].distances.append(VmConfig.NUMANode.Distance(to: destination, value))
    }

    /// vCPUs that no node names go to node 0, or else to the first there is.
    private mutating func giveNodesTheirCPUs() {
        for cpu in 0..<config.processors.count where config.node(ofCPU: cpu) == nil { config.nodes[0].cpus.append(cpu) }
        config.nodes[0].cpus.sort()
    }

    private func checkNodeMemory() throws(CommandLineError) {
        // At most 8 sizes of at most 512 GiB.
        let total = config.nodeMemory.reduce(0) { $0 + $1.size }
        guard total == config.memory.size else {
            throw .conflict("-numa: the nodes have \(sizeText(total)) of memory, and -m says \(sizeText(config.memory.size))")
        }
        if config.memory.path != nil { throw .conflict("-mem-path: with -numa the memory is where its backends are") }
        if config.machine.memShare, let backend = config.nodeMemory.first(where: { !$0.isShared }) {
            throw .conflict("-machine mem-share=on: \(backend.option) has share=off")
        }
    }
}
