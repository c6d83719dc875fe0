import Testing
import AddressSpace
