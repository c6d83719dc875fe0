/// How a topology shows in APIC ids: each level has a field of bits, wide enough for its count (Intel SDM vol. 3, 9.9.3).
extension CPUTopology {
    /// Bits that tell the threads of a core apart.
    var threadBits: Int { CPUTopology.bits(threads) }
    /// Bits that tell the cores of a die apart.
    var coreBits: Int { CPUTopology.bits(coresPerDie) }
    var dieBits: Int { CPUTopology.bits(dies) }
    /// Bits below the socket's number.
    var socketShift: Int { threadBits + coreBits + dieBits }

    var coresPerDie: Int { clusters * cores }
    var threadsPerDie: Int { coresPerDie * threads }
    var threadsPerSocket: Int { dies * threadsPerDie }

    /// The APIC id of vCPU `index`, which is also the id to create it with. The same as `index` where every count below the sockets is a power of
    /// two or there is just one socket of one thread a core; otherwise ids have gaps, so that fields do not run into each other. Where gaps would
    /// push an id beyond 254, ids are consecutive: the guest then sees the right number of CPUs and an approximate topology.
    public func apicID(of index: Int) -> UInt32 {
        guard packedID(of: maxcpus - 1) <= 254 else { return UInt32(clamping: index) }
        return UInt32(clamping: packedID(of: index))
    }

    private func packedID(of index: Int) -> Int {
        let place = place(of: index)
        let core = place.cluster * cores + place.core
        return ((place.socket << dieBits | place.die) << coreBits | core) << threadBits | place.thread
    }

    /// ceil(log2(count)).
    private static func bits(_ count: Int) -> Int { count <= 1 ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount }
}
