/// The bytes of a device's configuration space (virtio 1.2, section 2.5), little endian as the driver reads them.
struct ConfigurationSpace: Equatable {
    private var bytes: [UInt8]

    /// `size` zero bytes.
    init(size: Int) { bytes = [UInt8](repeating: 0, count: size) }

    /// Sets a field; what lies beyond the end is left out.
    mutating func put<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        for index in 0..<MemoryLayout<T>.size where bytes.indices.contains(offset + index) {
            bytes[offset + index] = UInt8(truncatingIfNeeded: value >> T(8 * index))
        }
    }

    mutating func put(_ text: some Sequence<UInt8>, at offset: Int) {
        for (index, byte) in text.enumerated() { put(byte, at: offset + index) }
    }

    /// `size` bytes from `offset` on, both the guest's: 0 when `size` is not 1...8; bytes beyond the end are 0.
    func read(offset: Int, size: Int) -> UInt64 {
        Self.read(offset: offset, size: size) { $0 < bytes.count ? bytes[$0] : 0 }
    }

    /// The same of bytes that are made as they are read; `byte` is called with numbers from 0 on.
    static func read(offset: Int, size: Int, _ byte: (Int) -> UInt8) -> UInt64 {
        guard offset >= 0, offset <= Int.max - 8, (1...8).contains(size) else { return 0 }
        var value: UInt64 = 0
        for index in 0..<size { value |= UInt64(byte(offset + index)) << UInt64(8 * index) }
        return value
    }
}
