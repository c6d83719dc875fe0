internal import AddressSpace

/// An 8-bit device on the ISA bus: the bus splits a wider access into one cycle a byte, lowest address first.
protocol ByteRegisters: RegionOps {
    func readByte(_ offset: Int) -> UInt8
    func writeByte(_ offset: Int, _ value: UInt8)
}

extension ByteRegisters {
    /// Sizes other than 1...8 answer nothing and do nothing.
    func readBytes(_ offset: UInt64, _ size: Int) -> UInt64 {
        guard (1...8).contains(size), let first = Int(exactly: offset), first <= 0xFFFF else { return .max }
        var value: UInt64 = 0
        for index in 0..<size { value |= UInt64(readByte(first + index)) << (8 * UInt64(index)) }
        return value
    }

    func writeBytes(_ offset: UInt64, _ size: Int, _ value: UInt64) {
        guard (1...8).contains(size), let first = Int(exactly: offset), first <= 0xFFFF else { return }
        for index in 0..<size { writeByte(first + index, UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))) }
    }
}
