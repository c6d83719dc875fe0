extension AddressSpace {
    /// Registers a listener and tells it, within this call, all that is there. When it throws it is not registered.
    public func addListener(_ listener: any AddressSpaceListener) throws(AddressSpaceError) {
        try Topology.shared.transaction { () throws(AddressSpaceError) in
            guard !listeners.contains(where: { $0 === listener }) else { throw .alreadyListening }
            let view = publisher.current
            if !view.ranges.isEmpty { try listener.regionsChanged(removed: [], added: view.ranges) }
            if !view.ioEventFDs.isEmpty {
                do throws(AddressSpaceError) {
                    try listener.ioEventFDsChanged(removed: [], added: view.ioEventFDs)
                } catch {
                    if !view.ranges.isEmpty { try listener.regionsChanged(removed: view.ranges, added: []) }
                    throw error
                }
            }
            listeners.append(listener)
        }
    }

    /// Tells the listener that all goes away, and forgets it, even when it throws. Nothing happens when it is not registered.
    public func removeListener(_ listener: any AddressSpaceListener) throws(AddressSpaceError) {
        try Topology.shared.transaction { () throws(AddressSpaceError) in
            guard let index = listeners.firstIndex(where: { $0 === listener }) else { return }
            listeners.remove(at: index)
            let view = publisher.current
            if !view.ioEventFDs.isEmpty { try listener.ioEventFDsChanged(removed: view.ioEventFDs, added: []) }
            if !view.ranges.isEmpty { try listener.regionsChanged(removed: view.ranges, added: []) }
        }
    }
}
