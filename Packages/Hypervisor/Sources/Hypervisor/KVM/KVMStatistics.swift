internal import CKVM
internal import LinuxSys

/// KVM's binary statistics (kernel Documentation/virt/kvm/api.rst 4.133, Linux 5.14): a file that begins with a header, which says where a table of
/// descriptors and the data are. The kernel writes it, and is believed as far as the limits below.
enum KVMStatistics {
    private static let descriptorLimit = 1024
    private static let nameLimit = 256
    private static let valueLimit = 1024
    private static let dataLimit = 1 << 20

    /// Another descriptor for the statistics of the machine or vCPU behind `file`; nil when KVM keeps none, or the process has no descriptor left.
    static func open(_ file: Int32) -> OwnedFD? {
        let number = ckvm_statistics(file)
        return number < 0 ? nil : OwnedFD(adopting: Int32(truncatingIfNeeded: number))
    }

    /// What it says now; empty when it makes no sense.
    static func read(_ file: borrowing OwnedFD) -> [HypervisorStatistic] {
        guard let header = bytes(file, at: 0, count: ckvm_statistics_header_size()) else { return [] }
        // SAFETY: the arrays have the sizes of the structures that these copy.
        let head = unsafe header.withUnsafeBytes { unsafe ckvm_statistics_header_copy($0.baseAddress) }
        let count = Int(head.num_desc)
        let nameSize = Int(head.name_size)
        let size = ckvm_statistics_descriptor_size() &+ nameSize
        guard count <= descriptorLimit, (1...nameLimit).contains(nameSize),
            let table = bytes(file, at: UInt64(head.desc_offset), count: count &* size)
        else { return [] }
        let entries = (0..<count).map { table[($0 &* size)..<(($0 &+ 1) &* size)] }
        let descriptors = entries.map { entry in
            unsafe entry.withUnsafeBytes { unsafe ckvm_statistics_descriptor_copy($0.baseAddress) }
        }
        let end = descriptors.map { Int($0.offset) &+ Int($0.size) &* 8 }.max() ?? 0
        guard end <= dataLimit, let data = bytes(file, at: UInt64(head.data_offset), count: end) else { return [] }
        return zip(entries, descriptors).compactMap { entry, descriptor in
            let count = Int(descriptor.size)
            guard (1...valueLimit).contains(count), let kind = kind(descriptor), let unit = unit(descriptor.flags), let base = base(descriptor.flags) else {
                return nil
            }
            let name = entry.dropFirst(ckvm_statistics_descriptor_size()).prefix { $0 != 0 }
            let values = (0..<count).map { number(data, at: Int(descriptor.offset) &+ $0 &* 8) }
            return HypervisorStatistic(
                name: String(decoding: name, as: UTF8.self), kind: kind, unit: unit, base: base, exponent: descriptor.exponent, values: values)
        }
    }

    /// In the host's order, as the kernel writes it.
    private static func number(_ data: [UInt8], at offset: Int) -> UInt64 {
        (0..<8).reduce(0) { $0 | UInt64(data[offset &+ $1]) << UInt64($1 &* 8) }
    }

    private static func bytes(_ file: borrowing OwnedFD, at offset: UInt64, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        guard let read = try? file.pread(into: &bytes, at: Int64(clamping: offset)), read == count else { return nil }
        return bytes
    }

    /// Nil for one that a later kernel may have.
    private static func kind(_ descriptor: ckvm_statistics_descriptor) -> HypervisorStatistic.Kind? {
        switch descriptor.flags & UInt32(KVM_STATS_TYPE_MASK) {
        case UInt32(KVM_STATS_TYPE_CUMULATIVE): .cumulative
        case UInt32(KVM_STATS_TYPE_INSTANT): .instant
        case UInt32(KVM_STATS_TYPE_PEAK): .peak
        case UInt32(KVM_STATS_TYPE_LINEAR_HIST): .linearHistogram(bucketSize: descriptor.bucket_size)
        case UInt32(KVM_STATS_TYPE_LOG_HIST): .logHistogram
        default: nil
        }
    }

    private static func unit(_ flags: UInt32) -> HypervisorStatistic.Unit? {
        switch flags & UInt32(KVM_STATS_UNIT_MASK) {
        case UInt32(KVM_STATS_UNIT_NONE): HypervisorStatistic.Unit.none
        case UInt32(KVM_STATS_UNIT_BYTES): .bytes
        case UInt32(KVM_STATS_UNIT_SECONDS): .seconds
        case UInt32(KVM_STATS_UNIT_CYCLES): .cycles
        case UInt32(KVM_STATS_UNIT_BOOLEAN): .boolean
        default: nil
        }
    }

    private static func base(_ flags: UInt32) -> UInt8? {
        switch flags & UInt32(KVM_STATS_BASE_MASK) {
        case UInt32(KVM_STATS_BASE_POW10): 10
        case UInt32(KVM_STATS_BASE_POW2): 2
        default: nil
        }
    }
}
