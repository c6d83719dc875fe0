/// Copies between a chain and memory of this process, for devices whose data is not moved by the kernel.
extension DescriptorChain {
    /// Fills the first elements of `bytes`, at most `limit` of them, from byte `skip` of the readable part on, and says how many. The copy is the
    /// caller's: check and use that, never look twice.
    func copyOut(from skip: UInt64, into bytes: inout [UInt8], limit: Int) -> Int {
        let capacity = min(limit, bytes.count)
        guard capacity > 0 else { return 0 }
        return unsafe bytes.withUnsafeMutableBytes { target in
            guard let start = target.baseAddress else { return 0 }
            var done = 0
            forEach(.readable, skip: skip, length: UInt64(capacity)) { address, count in
                guard let source = unsafe UnsafeRawPointer(bitPattern: address) else { return }
                // SAFETY: the pieces add up to at most `capacity` bytes. The chain's addresses are guest RAM that the device's session keeps mapped;
                // the guest may write it meanwhile, which changes what is copied and nothing else.
                unsafe (start + done).copyMemory(from: source, byteCount: count)
                done &+= count
            }
            return done
        }
    }

    /// Writes `bytes` into the writable part from byte `skip` on, as far as it goes, and says how many.
    func copyIn(_ bytes: Span<UInt8>, at skip: UInt64 = 0) -> Int {
        guard !bytes.isEmpty else { return 0 }
        return unsafe bytes.withUnsafeBytes { source in
            guard let start = source.baseAddress else { return 0 }
            var done = 0
            forEach(.writable, skip: skip, length: UInt64(source.count)) { address, count in
                guard let target = unsafe UnsafeMutableRawPointer(bitPattern: address) else { return }
                // SAFETY: as above; the pieces add up to at most `source.count` bytes.
                unsafe target.copyMemory(from: start + done, byteCount: count)
                done &+= count
            }
            return done
        }
    }
}
