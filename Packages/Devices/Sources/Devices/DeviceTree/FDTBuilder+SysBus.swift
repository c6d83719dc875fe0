public import FDT

extension FDTBuilder {
    /// A virtio device on the system bus (kernel Documentation/devicetree/bindings/virtio/mmio.yaml), to be written inside the root, whose `interrupt-parent` is the GIC.
    public mutating func virtioMMIO(_ slot: SysBusSlot) throws(FDTError) {
        try beginNode("virtio_mmio@\(String(slot.base, radix: 16))")
        try property("compatible", "virtio,mmio")
        try property("reg", doubleCells: [slot.base, slot.size])
        try property("interrupts", cells: Self.sharedInterrupt(slot.gsi, .risingEdge))
        // The device is this machine's own processors: its memory accesses go through their caches.
        try property("dma-coherent")
        try endNode()
    }
}
