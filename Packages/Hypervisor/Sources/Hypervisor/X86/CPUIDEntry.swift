/// What the CPUID instruction returns for one leaf, or one subleaf of a leaf that has several.
public struct CPUIDEntry: Equatable, Sendable {
    public var function: UInt32
    public var index: UInt32
    /// The leaf has subleaves: ECX selects among them (KVM_CPUID_FLAG_SIGNIFCANT_INDEX).
    public var indexIsSignificant: Bool
    public var eax: UInt32
    public var ebx: UInt32
    public var ecx: UInt32
    public var edx: UInt32

    public init(
        function: UInt32, index: UInt32 = 0, indexIsSignificant: Bool = false, eax: UInt32 = 0, ebx: UInt32 = 0, ecx: UInt32 = 0, edx: UInt32 = 0
    ) {
        self.function = function
        self.index = index
        self.indexIsSignificant = indexIsSignificant
        (self.eax, self.ebx, self.ecx, self.edx) = (eax, ebx, ecx, edx)
    }
}

extension [CPUIDEntry] {
    /// Fills leaves 0x80000002...4, the processor's name, from the host: KVM leaves them zero. `host` is asked for a leaf only when it is missing,
    /// since CPUID is slow on a host that is a guest itself.
    func withBrandString(host: (_ leaf: UInt32) -> CPUIDEntry) -> [CPUIDEntry] {
        var entries = self
        for leaf: UInt32 in 0x8000_0002...0x8000_0004 {
            let index = entries.firstIndex { $0.function == leaf }
            if let index {
                let entry = entries[index]
                if entry.eax | entry.ebx | entry.ecx | entry.edx == 0 { entries[index] = host(leaf) }
            } else {
                entries.append(host(leaf))
            }
        }
        return entries
    }
}
