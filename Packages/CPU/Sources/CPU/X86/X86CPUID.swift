public import Hypervisor

/// What a vCPU's CPUID instruction returns: what the hypervisor supports, changed to the machine's topology. A function of its arguments only.
public enum X86CPUID {
    /// Leaves for the vCPU with hardware id `apicID`. `tscDeadlineTimer` says that the hypervisor has the timer, which KVM's list need not show.
    ///
    /// Numbers: Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E.
    public static func entries(
        supported: [CPUIDEntry], topology: CPUTopology, apicID: UInt32, tscDeadlineTimer: Bool
    ) -> [CPUIDEntry] {
        let change = Change(topology: topology, apicID: apicID, isAMD: isAMD(supported), tscDeadlineTimer: tscDeadlineTimer)
        var entries: [CPUIDEntry] = []
        entries.reserveCapacity(supported.count + 8)
        for entry in supported where !Change.isReplaced(entry.function) {
            var entry = entry
            change.apply(to: &entry)
            entries.append(entry)
        }
        return entries + change.extendedTopology()
    }

    /// AMD and Hygon describe caches and cores in leaves of their own.
    static func isAMD(_ entries: [CPUIDEntry]) -> Bool {
        guard let vendor = entries.first(where: { $0.function == 0 })?.ebx else { return false }
        // "Auth" of AuthenticAMD, "Hygo" of HygonGenuine.
        return vendor == 0x6874_7541 || vendor == 0x6F67_7948
    }

    /// The changes for one vCPU.
    struct Change {
        let topology: CPUTopology
        let apicID: UInt32
        let isAMD: Bool
        let tscDeadlineTimer: Bool

        /// 2 (cache descriptors), 0x80000002...4 (the host's name) and all others stay as they are.
        func apply(to entry: inout CPUIDEntry) {
            switch entry.function {
            case 0: entry.eax = max(entry.eax, topology.dies > 1 ? 0x1F : 0xB)
            case 1: features(&entry)
            case 4 where !isAMD: intelCache(&entry)
            // The energy-performance bias MSR is not emulated.
            case 6: entry.ecx &= ~(1 << 3)
            // Performance counters: a guest driver of another version would use MSRs that are not there.
            case 0xA where entry.eax & 0xFF != 2: (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0)
            case 0x8000_0001 where isAMD: entry.ecx.setBit(1, topology.threadsPerSocket > 1)
            case 0x8000_0008 where isAMD: amdCores(&entry)
            case 0x8000_001D where isAMD: amdCache(&entry)
            case 0x8000_001E where isAMD: amdIdentifiers(&entry)
            default: break
            }
        }

        private func features(_ entry: inout CPUIDEntry) {
            // Intel counts the ids that the fields can name, AMD the processors that there are.
            let logical = isAMD ? topology.threadsPerSocket : 1 << topology.socketShift
            // CLFLUSH works on lines of 8 * 8 bytes.
            entry.ebx = entry.ebx & 0xFF | 8 << 8 | field(logical, bits: 8) << 16 | (apicID & 0xFF) << 24
            if tscDeadlineTimer { entry.ecx |= 1 << 24 }
            // Runs under a hypervisor: the guest looks for leaf 0x40000000.
            entry.ecx |= 1 << 31
            entry.edx.setBit(28, topology.threadsPerSocket > 1)
        }
    }
}

/// `value` cut to the largest that fits.
func field(_ value: Int, bits: Int) -> UInt32 { UInt32(clamping: min(max(0, value), (1 << bits) - 1)) }

extension UInt32 {
    mutating func setBit(_ bit: Int, _ on: Bool) {
        if on { self |= 1 << UInt32(bit) } else { self &= ~(1 << UInt32(bit)) }
    }
}
