internal import Hypervisor

/// The leaves that tell a guest which of its CPUs share a core, a cache, a die or a socket.
extension X86CPUID.Change {
    private static let extendedTopologyLeaf: UInt32 = 0xB
    private static let extendedTopologyV2Leaf: UInt32 = 0x1F
    /// AMD's extended topology; the guest would prefer what the host's says to ours.
    private static let amdExtendedTopologyLeaf: UInt32 = 0x8000_0026

    /// Leaves of which the hypervisor's list has the host's values, or nothing.
    static func isReplaced(_ function: UInt32) -> Bool {
        function == extendedTopologyLeaf || function == extendedTopologyV2Leaf || function == amdExtendedTopologyLeaf
    }

    private enum Level: UInt32 { case invalid = 0, thread = 1, core = 2, die = 5 }

    /// Leaf 0xB, which knows threads and cores, and with more than one die 0x1F, which knows dies too.
    func extendedTopology() -> [CPUIDEntry] {
        let t = topology
        var entries = [
            level(Self.extendedTopologyLeaf, 0, .thread, shift: t.threadBits, count: t.threads),
            level(Self.extendedTopologyLeaf, 1, .core, shift: t.socketShift, count: t.threadsPerSocket),
            level(Self.extendedTopologyLeaf, 2, .invalid, shift: 0, count: 0),
        ]
        if t.dies > 1 {
            entries += [
                level(Self.extendedTopologyV2Leaf, 0, .thread, shift: t.threadBits, count: t.threads),
                level(Self.extendedTopologyV2Leaf, 1, .core, shift: t.threadBits + t.coreBits, count: t.threadsPerDie),
                level(Self.extendedTopologyV2Leaf, 2, .die, shift: t.socketShift, count: t.threadsPerSocket),
                level(Self.extendedTopologyV2Leaf, 3, .invalid, shift: 0, count: 0),
            ]
        }
        return entries
    }

    private func level(_ leaf: UInt32, _ index: UInt32, _ level: Level, shift: Int, count: Int) -> CPUIDEntry {
        CPUIDEntry(
            function: leaf, index: index, indexIsSignificant: true, eax: field(shift, bits: 5), ebx: field(count, bits: 16),
            ecx: index | level.rawValue << 8, edx: apicID)
    }

    /// Leaf 4: which ids share a cache, and how many core ids a socket has. The first two levels belong to a core, the third to a die.
    func intelCache(_ entry: inout CPUIDEntry) {
        guard entry.eax & 0x1F != 0 else { return }
        let sharing = entry.eax >> 5 & 7 <= 2 ? topology.threadBits : topology.threadBits + topology.coreBits
        let cores = 1 << (topology.coreBits + topology.dieBits)
        entry.eax = entry.eax & 0x3FFF | field((1 << sharing) - 1, bits: 12) << 14 | field(cores - 1, bits: 6) << 26
    }

    /// Leaf 0x8000001D, as leaf 4; bits 26...31 are reserved, and it counts processors instead of ids.
    func amdCache(_ entry: inout CPUIDEntry) {
        guard entry.eax & 0x1F != 0 else { return }
        let sharing = entry.eax >> 5 & 7 <= 2 ? topology.threads : topology.threadsPerDie
        entry.eax = entry.eax & 0x3FFF | field(sharing - 1, bits: 12) << 14
    }

    /// Leaf 0x80000008, ECX: processors of a socket, and the width of their part of the APIC id.
    func amdCores(_ entry: inout CPUIDEntry) {
        entry.ecx = entry.ecx & ~0xF0FF | field(topology.threadsPerSocket - 1, bits: 8) | field(topology.socketShift, bits: 4) << 12
    }

    /// Leaf 0x8000001E: APIC id, core and node. A die is a node.
    func amdIdentifiers(_ entry: inout CPUIDEntry) {
        let core = apicID >> UInt32(topology.threadBits) & ((1 << UInt32(topology.coreBits + topology.dieBits)) - 1)
        let node = apicID >> UInt32(topology.threadBits + topology.coreBits)
        entry.eax = apicID
        entry.ebx = core & 0xFF | field(topology.threads - 1, bits: 8) << 8
        entry.ecx = node & 0xFF | field(topology.dies - 1, bits: 3) << 8
        entry.edx = 0
    }
}
