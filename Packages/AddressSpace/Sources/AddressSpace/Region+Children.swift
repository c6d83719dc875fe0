extension Region {
    /// Places `child` in this container. Where children overlap the higher priority shows; of equal priority, the one added later.
    public func add(_ child: Region, at offset: UInt64, priority: Int32 = 0) throws(AddressSpaceError) {
        guard kind == .container else { throw .notAContainer(name) }
        let (end, overflow) = offset.addingReportingOverflow(child.size)
        guard !overflow else { throw .overflow(child.name) }
        guard end <= size else { throw .outsideParent(child: child.name, parent: name) }
        try Topology.shared.change(self) { () throws(AddressSpaceError) in
            guard child.parent == nil, child.space == nil else { throw .alreadyPlaced(child.name) }
            guard !child.reaches(self) else { throw .cycle(child.name) }
            replaceChildren(inserting: Child(region: child, offset: offset, priority: priority))
            child.parent = self
            Topology.shared.onRollback { child.parent = nil }
        }
    }

    /// Takes `child` out of this container. A device access that is on its way still reaches the device.
    public func remove(_ child: Region) throws(AddressSpaceError) {
        try Topology.shared.change(self) { () throws(AddressSpaceError) in
            guard let index = children.firstIndex(where: { $0.region === child }) else {
                throw .notAChild(child: child.name, parent: name)
            }
            let old = children
            children.remove(at: index)
            child.parent = nil
            Topology.shared.onRollback { [self] in
                children = old
                child.parent = self
            }
        }
    }

    /// A ROM device's two faces: `true`, memory answers reads; `false`, the device answers everything.
    public func setROMMode(_ on: Bool) throws(AddressSpaceError) {
        guard kind == .romDevice else { throw .wrongKind(name) }
        try Topology.shared.change(self) { () throws(AddressSpaceError) in
            let old = romMode
            romMode = on
            Topology.shared.onRollback { [self] in romMode = old }
        }
    }

    private func replaceChildren(inserting child: Child) {
        let old = children
        let index = children.firstIndex { $0.priority <= child.priority } ?? children.endIndex
        children.insert(child, at: index)
        Topology.shared.onRollback { [self] in children = old }
    }

    /// Whether `other` is this region or is shown by it through children and aliases. Visits each region once.
    private func reaches(_ other: Region) -> Bool {
        var seen: Set<ObjectIdentifier> = []
        var pending = [self]
        while let region = pending.popLast() {
            if region === other { return true }
            // Most are: the set, whose type takes long to make, is for the others.
            if region.target == nil, region.children.isEmpty { continue }
            guard seen.insert(ObjectIdentifier(region)).inserted else { continue }
            if let target = region.target { pending.append(target) }
            for child in region.children { pending.append(child.region) }
        }
        return false
    }

    /// Every address space that may show this region. Few regions are on the way.
    func showingSpaces() -> [AddressSpace] {
        var seen: [Region] = []
        var pending = [self]
        var spaces: [AddressSpace] = []
        while let region = pending.popLast() {
            if seen.contains(where: { $0 === region }) { continue }
            seen.append(region)
            if let space = region.space { spaces.append(space) }
            if let parent = region.parent { pending.append(parent) }
            for alias in region.aliases { if let alias = alias.region { pending.append(alias) } }
        }
        return spaces
    }
}
